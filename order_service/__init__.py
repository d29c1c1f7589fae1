"""The one service that reads credentials, talks to a venue's private side and writes the journal."""
