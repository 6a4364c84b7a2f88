"""Messages to messages: each step is a small pure function, and none of them knows another."""
