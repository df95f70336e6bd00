"""Small MCP servers for tests: a home with three tools, and servers that misbehave.

`python tests/mcp_server.py` serves on standard input and output, `... http PORT` over HTTP on loopback.
"""

import sys
import time
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from typing_extensions import TypedDict


class Fade(TypedDict):
    seconds: float


class Lamp(BaseModel):
    room: str
    brightness_level: int = Field(alias="brightness-level")


def make(count: int = 0):
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("home")
    lamps = {"kitchen": 0, "hall": 20}

    @server.tool(name="set-light")
    def set_light(
        room: Literal["kitchen", "hall"],
        level: Annotated[int, Field(ge=0, le=100, description="Percent of full light.")] = 50,
        fade: Fade | None = None,
    ) -> Lamp:
        """Set the light of a room."""
        lamps[room] = level
        return Lamp.model_validate({"room": room, "brightness-level": level})

    @server.tool(structured_output=False)
    def say(text: str) -> str:
        """Say a text in every room."""
        if not text:
            raise ValueError("there is nothing to say")
        return f"said {text}"

    @server.tool()
    def wait(seconds: float) -> str:
        """Wait."""
        time.sleep(seconds)
        return "done"

    for number in range(count):
        server.tool(name=f"scene-{number}", description=f"Run scene {number}.")(set_light)
    return server


if __name__ == "__main__":
    how, *rest = sys.argv[1:] or ["stdio"]
    if how == "hang":
        time.sleep(600)
    elif how == "exit":
        sys.exit("the key is missing")
    elif how == "junk":
        print("Welcome to the home!", flush=True)
        make().run()
    elif how == "http":
        make().run("streamable-http", port=int(rest[0]))
    elif how == "many":
        make(int(rest[0])).run()
    else:
        make().run()
