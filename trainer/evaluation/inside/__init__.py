"""What runs inside a sandbox: files for any Python, which import nothing of ours."""

__all__: list[str] = []
