"""Where tasks run: in this process, in processes of this machine, or on a Ray cluster. What is written is the same."""
