"""HTTP: the Together and the OpenAI Batch API on one port, and nothing but HTTP."""
