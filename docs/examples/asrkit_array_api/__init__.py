"""The backend of docs/plugins/backends.md."""
