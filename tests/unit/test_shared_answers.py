"""Who takes an answer of some age shares it; nobody else does."""

import asyncio
from dataclasses import dataclass, field

import httpx
from starlette.types import Receive, Scope, Send

from service.api.shared_answers import SharedAnswers


@dataclass
class Counting:
    """An application that answers with how often it was asked."""

    status: int = 200
    asked: int = 0
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        self.asked += 1
        self.was_asked.set()
        body = f"{self.asked} {scope['path']}?{scope['query_string'].decode()}".encode()
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": body})


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def client_of(app: Counting, clock: Clock) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=SharedAnswers(app, clock))
    return httpx.AsyncClient(transport=transport, base_url="http://here")


FIVE = {"Cache-Control": "no-transform, max-age=5"}


def test_an_answer_is_shared_until_it_is_too_old() -> None:
    async def ask() -> None:
        app, clock = Counting(), Clock()
        app.may_answer.set()
        async with client_of(app, clock) as client:
            first = await client.get("/monitoring/health", headers=FIVE)
            clock.now = 5.0
            second = await client.get("/monitoring/health", headers=FIVE)
            stricter = await client.get(
                "/monitoring/health", headers={"Cache-Control": "max-age=4"}
            )
            clock.now = 10.1
            third = await client.get("/monitoring/health", headers=FIVE)

        assert [answer.text[0] for answer in (first, second, stricter, third)] == list("1123")
        assert [answer.headers["age"] for answer in (first, second, third)] == ["0", "5", "0"]

    asyncio.run(ask())


def test_what_is_asked_at_the_same_time_is_computed_once() -> None:
    async def ask() -> None:
        app = Counting()
        async with client_of(app, Clock()) as client:
            asking = [
                asyncio.create_task(client.get("/monitoring/stats?window=1h", headers=FIVE))
                for _ in range(20)
            ]
            await app.was_asked.wait()
            asking[0].cancel()  # who goes away does not take the answer along
            app.may_answer.set()
            answers = await asyncio.gather(*asking[1:])

        assert {answer.text for answer in answers} == {"1 /monitoring/stats?window=1h"}

    asyncio.run(ask())


def test_nobody_else_is_given_an_old_answer() -> None:
    async def ask() -> None:
        app = Counting()
        app.may_answer.set()
        async with client_of(app, Clock()) as client:
            for number, (path, headers) in enumerate(
                [
                    ("/monitoring/health", FIVE),
                    ("/monitoring/health", {}),
                    ("/monitoring/health", {"Cache-Control": "max-age=0"}),
                    ("/monitoring/health", {"Cache-Control": "no-cache"}),
                    ("/monitoring/health?scope=fleet", FIVE),
                    ("/metrics", FIVE),
                    ("/metrics", FIVE),
                ],
                start=1,
            ):
                answer = await client.get(path, headers=headers)
                assert answer.text.split()[0] == str(number)
            posted = await client.post("/monitoring/health", headers=FIVE)
            assert posted.text[0] == "8"

    asyncio.run(ask())


def test_an_error_is_not_kept_and_what_is_kept_is_bounded() -> None:
    async def ask() -> None:
        app = Counting(status=503)
        app.may_answer.set()
        async with client_of(app, Clock()) as client:
            failed = [await client.get("/monitoring/health", headers=FIVE) for _ in range(2)]
            app.status = 200
            for number in range(65):
                await client.get(f"/monitoring/drift/{number}", headers=FIVE)
            asked = app.asked
            await client.get("/monitoring/drift/64", headers=FIVE)
            await client.get("/monitoring/drift/0", headers=FIVE)

        assert [answer.text[0] for answer in failed] == list("12")
        assert app.asked == asked + 1

    asyncio.run(ask())
