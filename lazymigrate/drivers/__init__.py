"""The only floor that knows pymongo, Motor and asyncio: each driver carries the same commands out on one API."""
