"""Commands that learn: routers from outcomes and tables, self-play, and what recorded outcomes say."""
