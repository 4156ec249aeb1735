"""Images, labels and lists of them, and what is done to pixels before a network gets them."""
