from references.queue import reference

__all__ = ["reference"]
