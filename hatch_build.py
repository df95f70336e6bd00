"""In a clone, JupyterLab opens with the notebooks in reading order; an installed package leaves JupyterLab as it is."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONFIG = "etc/jupyter/jupyter_lab_config.json"


class OpenContents(BuildHookInterface):
    def initialize(self, version: str, build_data: dict) -> None:
        if version == "editable":
            build_data["shared_data"][CONFIG] = CONFIG
