"""The MCP server: what the command line does with configs, as tools for assistants of other makers."""
