"""The config files of MCP clients: where they lie, how servers are written in them, and changing them without harm."""
