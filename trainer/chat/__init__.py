"""A tuned model, or a base model behind a prompt, talked to in a terminal, a browser or by HTTP."""

__all__ = ["few_shot", "generation", "local_page", "prompt_window", "server", "terminal", "web"]
