"""Requests, logs and tuning files of vendors: Vertex, Bedrock, OpenAI, Cohere."""

from __future__ import annotations

from chatdata.sources.shapes.vendors import bedrock, cohere, google, openai
from chatdata.sources.shapes.vendors._openai_form import as_openai

__all__ = ["SHAPES", "as_openai"]

SHAPES = (*google.SHAPES, *bedrock.SHAPES, *openai.SHAPES, *cohere.SHAPES)
