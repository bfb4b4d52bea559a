"""The routes of OpenAI's API, asked by its own client."""

import openai
import pytest

from truss.testing.server import running_server

COMPLETING = """
    class Model:
        def predict(self, request):
            return request

        async def completions(self, request):
            if request.get("stream"):
                return self._parts(request)
            texts = [request["prompt"].upper(), ""][: request.get("n", 1)]
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            return self._part(request, texts) | {"usage": usage}

        async def _parts(self, request):
            for letter in request["prompt"]:
                if letter == "!":
                    raise ValueError("as asked")
                yield self._part(request, [letter.upper()])

        def _part(self, request, texts):
            choices = [
                {"index": index, "text": text, "finish_reason": "stop", "logprobs": None}
                for index, text in enumerate(texts)
            ]
            return {"id": "c-1", "object": "text_completion", "created": 1, "model": request["model"],
                    "choices": choices}
"""


@pytest.fixture(scope="module")
def client(speaking):
    with openai.OpenAI(base_url=f"{speaking.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def test_a_chat_is_answered(client):
    answer = client.chat.completions.create(model="doubler", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content == "HELLO"
    assert answer.model == "doubler"


def test_a_chat_is_streamed(client):
    chunks = client.chat.completions.create(
        model="doubler", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    assert [chunk.choices[0].delta.content for chunk in chunks] == list("HELLO")


def test_a_model_that_does_not_stream_says_so(client):
    with pytest.raises(openai.InternalServerError, match="asks for a stream"):
        client.chat.completions.create(
            model="doubler", messages=[{"role": "user", "content": "whole"}], stream=True
        )


def test_embeddings_are_numbers(client):
    answer = client.embeddings.create(model="doubler", input=["a", "bcd"], encoding_format="float")
    assert [entry.embedding for entry in answer.data] == [[1.0, 0.5], [3.0, 0.5]]


def test_the_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["model", "doubler"]
    assert client.models.retrieve("model").owned_by == "truss"


def test_a_method_that_the_model_lacks_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(model="doubler", prompt="a")
    assert caught.value.type == "not_found_error"
    assert "completions" in caught.value.message
    assert caught.value.code == "not_found"


def test_what_the_model_raises_is_its_error(client):
    with pytest.raises(openai.InternalServerError, match="as asked"):
        client.chat.completions.create(model="doubler", messages=[{"role": "user", "content": "fail"}])


def test_what_is_no_request_is_refused_in_openai_s_shape(speaking):
    for body in (b"[1]", b"{", b"", b"\xff"):
        response = speaking.request("POST", "/v1/chat/completions", body, {"Content-Type": "text/csv"})
        assert response.status == 400
        error = response.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        assert error["param"] is None


def test_completions_are_answered_and_streamed(make_truss):
    with (
        running_server(make_truss(COMPLETING, "model_name: writer\n")) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        answer = client.completions.create(model="writer", prompt="hello", n=2)
        assert [choice.text for choice in answer.choices] == ["HELLO", ""]
        assert (answer.object, answer.model, answer.usage.total_tokens) == ("text_completion", "writer", 2)
        parts = client.completions.create(model="writer", prompt="hello", stream=True)
        assert [part.choices[0].text for part in parts] == list("HELLO")
        parts = client.completions.create(model="writer", prompt="a!", stream=True)
        assert next(parts).choices[0].text == "A"
        with pytest.raises(openai.APIError, match="as asked"):
            next(parts)
        with pytest.raises(openai.NotFoundError, match="chat_completions"):
            client.chat.completions.create(model="writer", messages=[])
