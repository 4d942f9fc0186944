"""A workflow over HTTP, as the OpenAI API."""
