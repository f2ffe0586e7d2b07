"""What DataForge remembers: revisions of configs, generations of models, audit rows, chats."""
