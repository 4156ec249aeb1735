"""Training: LinS's fine-tuning and the zoo's networks, in folders that can be resumed."""
