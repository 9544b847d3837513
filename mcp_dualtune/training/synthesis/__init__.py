"""Requests for a user's own MCP server, made from the schemas, names and descriptions of its tools alone."""

from mcp_dualtune.training.synthesis.synthesis import Part, Synthesis, synthesise

__all__ = ["Part", "Synthesis", "synthesise"]
