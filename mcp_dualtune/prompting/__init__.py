"""Text into and out of the model: one renderer for serving and training."""

from mcp_dualtune.prompting.render import ArgumentsPrompt, ChoicePrompt, Renderer

__all__ = ["ArgumentsPrompt", "ChoicePrompt", "Renderer"]
