"""Messages to rows of token ids and labels, and the proof that the rows are right."""
