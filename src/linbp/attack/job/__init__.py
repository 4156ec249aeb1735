"""The resumable job: a folder of adversarial images."""
