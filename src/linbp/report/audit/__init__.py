"""An audit for readers: a page, Markdown for pull requests, JSON, JUnit XML, and lines for the terminal."""
