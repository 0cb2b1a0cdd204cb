"""What the service does for its users: each module one occupation, below the API, above storage."""
