"""An example of each shape that `auto` knows: records as they stand in a file, and their turns.

The words are made up. `turns` are (role, words) of each conversation; an answer that calls a tool
has the calls as (name, arguments) in place of words, or behind them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatdata.sources.shapes.pairs import PAIRS

ASK, TELL = "Where do herons nest?", "In tall trees, near water."
MORE, REST = "And what do they eat?", "Fish, frogs and large insects."
SYSTEM = "Answer in a sentence."
LONG = (("user", ASK), ("assistant", TELL), ("user", MORE), ("assistant", REST))
WITH_SYSTEM = (("system", SYSTEM), *LONG)
SHORT = LONG[:2]
CALL = {"name": "weather", "arguments": {"city": "Oslo"}}
RESULT = '{"degrees": -3}'
TOOL = {"name": "weather", "description": "The weather.", "parameters": {"type": "object"}}
CALLED: tuple[tuple[str, Any], ...] = (
    ("user", "How cold is it in Oslo?"),
    ("assistant", [("weather", {"city": "Oslo"})]),
    ("tool", RESULT),
    ("assistant", "Three below zero."),
)
COLD, ZERO, CITY = CALLED[0][1], CALLED[3][1], CALL["arguments"]
_ITEMS = (
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": COLD}]},
    {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": json.dumps(CITY)},
    {"type": "function_call_output", "call_id": "c1", "output": RESULT},
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": ZERO, "annotations": []}],
    },
)


@dataclass(frozen=True)
class Example:
    """A file of a shape: its records, and the conversations that they are."""

    records: Sequence[Any]
    turns: Sequence[Sequence[tuple[str, Any]]]
    suffix: str = ".jsonl"


def _of(record: Any, turns: Sequence[tuple[str, Any]] = LONG) -> Example:
    return Example([record], [turns])


def _list(speaker: str, words: str, user: str = "user", assistant: str = "assistant") -> list[Any]:
    names = {"user": user, "assistant": assistant}
    return [{speaker: names[role], words: text} for role, text in LONG]


_ROLES = _list("role", "content")
_FROM = _list("from", "value", "human", "gpt")
_TEXTS = [text for _, text in LONG]
_PAIRS_OF_TEXTS = [_TEXTS[:2], _TEXTS[2:]]


def _chatgpt(id: str, parent: str, role: str, text: str) -> dict[str, Any]:
    """A node of ChatGPT's export."""
    content = {"content_type": "text", "parts": [text]}
    author = {"role": role, "name": None}
    message = {"id": id, "author": author, "content": content, "recipient": "all"}
    return {"id": id, "message": message, "parent": parent, "children": []}


EXAMPLES: dict[str, Example] = {
    # lists
    "rows of chatdata": _of(
        {"id": "jsonl/a", "group": "jsonl/a", "source": "jsonl", "lang": "en", "messages": _ROLES}
    ),
    "OpenAI messages": _of(
        {"messages": [{"role": "system", "content": SYSTEM}, *_ROLES]}, WITH_SYSTEM
    ),
    "bare list of messages": _of(_ROLES),
    "chat of role and content": _of({"chat": _ROLES}),
    "dialog of role and content": _of({"dialog": _ROLES}),
    "dialogue of role and content": _of({"dialogue": _ROLES}),
    "turns of role and content": _of({"turns": _ROLES}),
    "ShareGPT": _of({"id": "a_0", "conversations": _FROM}),
    "ShareGPT items": _of({"id": "a", "items": _FROM}),
    "conversation of from and value": _of({"conversation": _FROM}),
    "messages of from and value": _of({"messages": _FROM}),
    "messages of from and content": _of({"messages": _list("from", "content")}),
    "conversations of role and content": _of({"conversations": _ROLES}),
    "conversation of role and content": _of({"conversation": _ROLES, "model": "m"}),
    "Firefly": _of(
        {"conversation": [{"human": ASK, "assistant": TELL}, {"human": MORE, "assistant": REST}]}
    ),
    "conversation of input and output": _of(
        {
            "conversation": [
                {"system": SYSTEM, "input": ASK, "output": TELL},
                {"input": MORE, "output": REST},
            ]
        },
        WITH_SYSTEM,
    ),
    "LIMA": _of({"conversations": _TEXTS, "source": "made up"}),
    "UltraChat": _of({"id": "0", "data": _TEXTS}),
    "conversation of pairs of texts": _of({"conversation": _PAIRS_OF_TEXTS}),
    "conversations of pairs of texts": _of({"conversations": _PAIRS_OF_TEXTS}),
    "bare list of pairs of texts": _of(_PAIRS_OF_TEXTS),
    # vendors
    "Vertex and Gemini contents": _of(
        {
            "systemInstruction": {"role": "system", "parts": [{"text": SYSTEM}]},
            "contents": [
                {"role": {"assistant": "model"}.get(role, role), "parts": [{"text": text}]}
                for role, text in LONG
            ],
        },
        WITH_SYSTEM,
    ),
    "Bedrock Converse": _of(
        {
            "schemaVersion": "bedrock-conversation-2024",
            "system": [{"text": SYSTEM}],
            "messages": [{"role": role, "content": [{"text": text}]} for role, text in LONG],
        },
        WITH_SYSTEM,
    ),
    "OpenAI request and response": _of(
        {
            "request": {"model": "m", "messages": _ROLES[:3]},
            "response": {"choices": [{"index": 0, "message": _ROLES[3]}]},
        }
    ),
    "OpenAI Responses": _of(
        {
            "instructions": SYSTEM,
            "input": COLD,
            "output": list(_ITEMS[1:]),
        },
        (("system", SYSTEM), *CALLED),
    ),
    "Cohere chat history": _of(
        {
            "preamble": SYSTEM,
            "chat_history": [
                {"role": "USER", "message": ASK},
                {"role": "CHATBOT", "message": TELL},
            ],
            "message": MORE,
            "text": REST,
        },
        WITH_SYSTEM,
    ),
    "PaLM chat": _of(
        {
            "context": SYSTEM,
            "messages": [
                {"author": {"assistant": "bot"}.get(role, role), "content": text}
                for role, text in LONG
            ],
        },
        WITH_SYSTEM,
    ),
    # trees of Open Assistant
    "OASST trees": _of(
        {
            "message_tree_id": "r",
            "tree_state": "ready_for_export",
            "prompt": {
                "message_id": "r",
                "text": ASK,
                "role": "prompter",
                "replies": [{"message_id": "s", "text": TELL, "role": "assistant", "replies": []}],
            },
        },
        SHORT,
    ),
    "OASST threads": _of(
        {
            "thread_id": "s",
            "thread": [
                {"message_id": "r", "text": ASK, "role": "prompter"},
                {"message_id": "s", "text": TELL, "role": "assistant"},
            ],
        },
        SHORT,
    ),
    "OASST messages": Example(
        [
            {"message_id": "r", "parent_id": None, "text": ASK, "role": "prompter"},
            {"message_id": "s", "parent_id": "r", "text": TELL, "role": "assistant"},
        ],
        [SHORT],
    ),
    # texts that a template wrote
    "guanaco text": _of(
        {"text": f"### Human: {ASK}### Assistant: {TELL}### Human: {MORE}### Assistant: {REST}"}
    ),
    "Alpaca text": _of(
        {
            "text": f"{SYSTEM}\n\n### Instruction:\n{ASK}\n\n### Input:\nHerons."
            f"\n\n### Response:\n{TELL}"
        },
        (("system", SYSTEM), ("user", f"{ASK}\n\nHerons."), ("assistant", TELL)),
    ),
    "ChatML text": _of(
        {"text": "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in WITH_SYSTEM)},
        WITH_SYSTEM,
    ),
    "Llama 3 text": _of(
        {
            "text": "<|begin_of_text|>"
            + "".join(
                f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>"
                for role, text in WITH_SYSTEM
            )
        },
        WITH_SYSTEM,
    ),
    "Gemma text": _of(
        {
            "text": "<bos>"
            + "".join(
                f"<start_of_turn>{role.replace('assistant', 'model')}\n{text}<end_of_turn>\n"
                for role, text in LONG
            )
        }
    ),
    "Zephyr text": _of(
        {"text": "".join(f"<|{role}|>\n{text}</s>\n" for role, text in WITH_SYSTEM)}, WITH_SYSTEM
    ),
    "OpenAssistant text": _of(
        {
            "text": "".join(
                f"<|{role.replace('user', 'prompter')}|>{text}<|endoftext|>" for role, text in LONG
            )
        }
    ),
    "Vicuna text": _of(
        {"text": f"{SYSTEM} USER: {ASK} ASSISTANT: {TELL}</s>USER: {MORE} ASSISTANT: {REST}</s>"},
        WITH_SYSTEM,
    ),
    "Human and Assistant text": _of(
        {"text": f"\n\nHuman: {ASK}\n\nAssistant: {TELL}\n\nHuman: {MORE}\n\nAssistant: {REST}"}
    ),
    "Llama 2 text": _of(
        {
            "text": f"<s>[INST] <<SYS>>\n{SYSTEM}\n<</SYS>>\n\n{ASK} [/INST] {TELL} </s>"
            f"<s>[INST] {MORE} [/INST] {REST} </s>"
        },
        WITH_SYSTEM,
    ),
    "Baize": _of(
        {
            "topic": "herons",
            "input": "The conversation between human and AI assistant.\n"
            f"[|Human|] {ASK}\n[|AI|] {TELL}\n[|Human|] {MORE}\n[|AI|] {REST}\n[|Human|] ",
        }
    ),
    "Belle dialogues": _of(
        {
            "instruction": f"Human:{ASK}\nAssistant:{TELL}\nHuman:{MORE}\nAssistant:",
            "input": "",
            "output": REST,
        }
    ),
    # exports
    "ChatGPT export": _of(
        {
            "title": "Herons",
            "conversation_id": "c1",
            "current_node": "n4",
            "mapping": {
                "root": {"id": "root", "message": None, "parent": None, "children": ["n0"]},
                "n0": _chatgpt("n0", "root", "system", ""),
                **{
                    f"n{number}": _chatgpt(f"n{number}", f"n{number - 1}", role, text)
                    for number, (role, text) in enumerate(LONG, start=1)
                },
            },
        }
    ),
    "Claude export": _of(
        {
            "uuid": "u1",
            "name": "Herons",
            "chat_messages": [
                {
                    "uuid": f"m{number}",
                    "text": text,
                    "content": [{"type": "text", "text": text, "citations": []}],
                    "sender": {"user": "human"}.get(role, role),
                    "created_at": "2024-05-01T10:00:00Z",
                    "attachments": [],
                    "files": [],
                }
                for number, (role, text) in enumerate(LONG)
            ],
        }
    ),
    "Gemini activity": _of(
        {
            "header": "Gemini Apps",
            "title": f"Prompted {ASK}",
            "time": "2024-05-01T10:00:00Z",
            "products": ["Gemini Apps"],
            "safeHtmlItem": [{"html": f"<p>{TELL}</p>"}],
        },
        (SHORT[0], ("assistant", f"<p>{TELL}</p>")),
    ),
    "LibreChat export": _of(
        {
            "conversationId": "l1",
            "title": "Herons",
            "recursive": False,
            "messages": [
                {
                    "messageId": f"m{number}",
                    "parentMessageId": f"m{number - 1}"
                    if number
                    else f"{0:08}-0000-0000-0000-{0:012}",
                    "isCreatedByUser": role == "user",
                    "sender": "User" if role == "user" else "A model",
                    "text": text,
                }
                for number, (role, text) in enumerate(LONG)
            ],
        }
    ),
    "Open WebUI export": _of(
        {
            "id": "w1",
            "title": "Herons",
            "chat": {
                "params": {"system": SYSTEM},
                "history": {
                    "currentId": "m3",
                    "messages": {
                        f"m{number}": {
                            "id": f"m{number}",
                            "parentId": f"m{number - 1}" if number else None,
                            "childrenIds": [f"m{number + 1}"],
                            "role": role,
                            "content": text,
                        }
                        for number, (role, text) in enumerate(LONG)
                    },
                },
                "messages": _ROLES,
            },
        },
        WITH_SYSTEM,
    ),
    "SillyTavern chat": Example(
        [
            {"user_name": "Ann", "character_name": "Bot", "create_date": "2024"},
            *(
                {"name": "Ann", "is_user": role == "user", "is_system": False, "mes": text}
                for role, text in LONG
            ),
        ],
        [LONG],
    ),
    # calls, characters, chosen answers
    "xLAM": _of(
        {
            "id": 0,
            "query": COLD,
            "answers": json.dumps([CALL]),
            "tools": json.dumps([TOOL]),
        },
        CALLED[:2],
    ),
    "Glaive v2": _of(
        {
            "system": f"SYSTEM: {SYSTEM} -\n{json.dumps(TOOL, indent=4)}\n\n",
            "chat": f"USER: {COLD}\n\n\nASSISTANT: <functioncall> "
            '{"name": "weather", "arguments": \'{"city": "Oslo"}\'} <|endoftext|>\n\n\n'
            f"FUNCTION RESPONSE: {RESULT}\n\n\nASSISTANT: {ZERO} <|endoftext|>\n\n\n",
        },
        (("system", f"{SYSTEM} -"), *CALLED),
    ),
    "MOSS": _of(
        {
            "meta_instruction": SYSTEM,
            "num_turns": 2,
            "chat": {
                f"turn_{number}": {
                    "Human": f"<|Human|>: {asked}<eoh>\n",
                    "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\n",
                    "Commands": "<|Commands|>: None<eoc>\n",
                    "Tool Responses": "<|Results|>: None<eor>\n",
                    "MOSS": f"<|MOSS|>: {told}<eom>\n",
                }
                for number, (asked, told) in enumerate([(ASK, TELL), (MORE, REST)], start=1)
            },
        },
        WITH_SYSTEM,
    ),
    "CAMEL dialogues": _of(
        {
            "role_1": "Guide_RoleType.ASSISTANT",
            "role_2": "Visitor_RoleType.USER",
            "id": "001_001",
            "num_messages": 4,
            **{
                f"message_{number}": {
                    "role_name": "Visitor" if role == "user" else "Guide",
                    "role_type": role.upper(),
                    "role": role,
                    "content": text,
                }
                for number, (role, text) in enumerate(LONG, start=1)
            },
        }
    ),
    "CAMEL problems": _of(
        {"role_1": "Zoologist_RoleType.ASSISTANT", "message_1": ASK, "message_2": TELL}, SHORT
    ),
    "OpenAI preferences": _of(
        {
            "input": {"messages": _ROLES[:1]},
            "preferred_output": _ROLES[1:2],
            "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
        },
        SHORT,
    ),
    "HH-RLHF": _of(
        {
            "chosen": f"\n\nHuman: {ASK}\n\nAssistant: {TELL}",
            "rejected": f"\n\nHuman: {ASK}\n\nAssistant: No idea.",
        },
        SHORT,
    ),
    "SHP": _of(
        {"history": ASK, "human_ref_A": "No idea.", "human_ref_B": TELL, "labels": 0}, SHORT
    ),
    "two answers, one better": _of(
        {"prompt": ASK, "response_0": "No idea.", "response_1": TELL, "better_response_id": 1},
        SHORT,
    ),
    "Self-Instruct": Example(
        [
            {
                "id": "seed_task_1",
                "instruction": "Name the birds that are described.",
                "instances": [
                    {"input": "Grey, with long legs.", "output": "Herons."},
                    {"input": "", "output": "Herons and storks."},
                ],
            }
        ],
        [
            (
                ("user", "Name the birds that are described.\n\nGrey, with long legs."),
                ("assistant", "Herons."),
            ),
            (("user", "Name the birds that are described."), ("assistant", "Herons and storks.")),
        ],
    ),
    "prompt, chosen and rejected": _of(
        {"prompt": ASK, "chosen": TELL, "rejected": "No idea."}, SHORT
    ),
    "chosen and rejected dialogues": _of(
        {
            "chosen": _ROLES[:2],
            "rejected": [_ROLES[0], {"role": "assistant", "content": "No idea."}],
        },
        SHORT,
    ),
    "messages, chosen and rejected": _of(
        {
            "conversations": [{"from": "human", "value": ASK}],
            "chosen": {"from": "gpt", "value": TELL},
            "rejected": {"from": "gpt", "value": "No idea."},
        },
        SHORT,
    ),
    "messages and what was rejected": _of(
        {"messages": _ROLES[:2], "rejected_response": "No idea."}, SHORT
    ),
    "answers with scores": _of(
        {
            "instruction": ASK,
            "completions": [
                {"response": "No idea.", "overall_score": 2},
                {"response": TELL, "overall_score": 8.5},
            ],
        },
        SHORT,
    ),
    "answers beside scores": _of(
        {"prompt": ASK, "responses": [TELL, "No idea."], "scores": [0.9, 0.1]}, SHORT
    ),
    "KTO": Example(
        [
            {"prompt": ASK, "completion": TELL, "label": True},
            {"prompt": ASK, "completion": "No idea.", "label": False},
        ],
        [SHORT],
    ),
    # sessions of agents
    "Claude Code session": Example(
        [
            {"type": "summary", "summary": "Cold", "leafUuid": "l5"},
            *(
                {
                    "type": role,
                    "uuid": f"l{number}",
                    "parentUuid": f"l{number - 1}" if number else None,
                    "isSidechain": False,
                    "sessionId": "s1",
                    "timestamp": "2026-01-01T00:00:00.000Z",
                    "message": {"role": role, "content": content, **more},
                }
                for number, (role, content, more) in enumerate(
                    [
                        ("user", COLD, {}),
                        ("assistant", [{"type": "text", "text": "I look."}], {"id": "m1"}),
                        (
                            "assistant",
                            [{"type": "tool_use", "id": "t", "name": "weather", "input": CITY}],
                            {"id": "m1"},
                        ),
                        (
                            "user",
                            [{"type": "tool_result", "tool_use_id": "t", "content": RESULT}],
                            {},
                        ),
                        ("assistant", [{"type": "text", "text": ZERO}], {"id": "m2"}),
                    ]
                )
            ),
        ],
        [
            (
                CALLED[0],
                ("assistant", ("I look.", [("weather", CITY)])),
                *CALLED[2:],
            )
        ],
    ),
    "Codex session": Example(
        [
            {
                "timestamp": "2026-01-01T00:00:00.000Z",
                "type": kind,
                "payload": payload,
            }
            for kind, payload in [
                ("session_meta", {"id": "s2", "base_instructions": {"text": SYSTEM}}),
                ("turn_context", {"model": "m"}),
                ("event_msg", {"type": "user_message", "message": COLD}),
                *(("response_item", item) for item in _ITEMS),
            ]
        ],
        [(("system", SYSTEM), *CALLED)],
    ),
    "verifiers rollouts": _of(
        {
            "example_id": 0,
            "prompt": [{"role": "system", "content": SYSTEM}, *_ROLES[:1]],
            "completion": _ROLES[1:],
            "answer": "fish",
            "reward": 1.0,
        },
        WITH_SYSTEM,
    ),
    "verifiers trace": _of(
        {
            "id": "v1",
            "nodes": [
                {"parent": number - 1 if number else None, "message": message, "sampled": True}
                for number, message in enumerate([{"role": "system", "content": SYSTEM}, *_ROLES])
            ],
        },
        WITH_SYSTEM,
    ),
    # pairs
    **{f"{asked} and {told}": _of({asked: ASK, told: TELL}, SHORT) for asked, told in PAIRS},
}


def spoken(role: str, content: str | None, calls: str | None) -> tuple[str, Any]:
    """A turn as examples write it."""
    if not calls:
        return role, content
    made = [(call["function"]["name"], call["function"]["arguments"]) for call in json.loads(calls)]
    return (role, (content, made)) if content else (role, made)
