"""The backend of remote experts: servers that speak OpenAI's API, and providers that any-llm-sdk knows."""
