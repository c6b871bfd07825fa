"""The supervisor: parent of all processes. Standard library only, one thread, no asyncio."""
