"""A server of vectors and hits: HTTP as text-embeddings-inference (TEI) and OpenAI word it, gRPC, and a page."""
