"""What can be called: servers, tools, names, schemas, and the short list for a request."""
