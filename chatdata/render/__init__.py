"""Messages to rows of token ids and labels, made together, and the proof that they are right."""
