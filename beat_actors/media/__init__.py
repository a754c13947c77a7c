"""What the bytes of media are: pictures and videos are examined, cleaned and made smaller. Reads no rows and no network."""
