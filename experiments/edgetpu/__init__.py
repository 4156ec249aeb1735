"""Why LinBP does on MobileNet EdgeTPU what it does."""
