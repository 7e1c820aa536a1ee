"""From files on disk to patches."""
