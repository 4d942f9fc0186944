"""What requests and answers of `/v1/admin` contain; times are seconds since 1970."""
