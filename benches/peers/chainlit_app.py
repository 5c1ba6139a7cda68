"""A Chainlit app that relays the stream of an OpenAI-compatible server, as Chainlit's documentation does it."""

import os

import chainlit as cl
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url=f"http://{os.environ['UPSTREAM']}/v1", api_key="any")


@cl.on_message
async def on_message(message: cl.Message):
    answer = cl.Message(content="")
    stream = await client.chat.completions.create(
        model="bench", messages=[{"role": "user", "content": message.content}], stream=True
    )
    async for part in stream:
        if token := part.choices[0].delta.content:
            await answer.stream_token(token)
    await answer.update()
