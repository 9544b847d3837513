"""`python -m mcp_dualtune` is `dualtune`."""

from mcp_dualtune.cli.main import program

if __name__ == "__main__":
    program()
