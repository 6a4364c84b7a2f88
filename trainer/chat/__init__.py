"""A tuned model, or a base model behind a prompt, talked to in a terminal, a browser or by HTTP."""

__all__ = ["few_shot", "generation", "prompt_window", "server", "terminal", "web"]
