from references.random_global import reference

__all__ = ["reference"]
