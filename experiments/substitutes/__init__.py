"""What a substitute is worth against the owner's own network: docs/substitutes.md."""
