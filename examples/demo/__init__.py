"""A demonstration: real servers, a workspace made for the occasion, and requests as people write them."""
