"""The gallery and the viewer alone; the address says in which situation: ?show=plain|groups|hostile|viewer|dialog."""

from dataclasses import replace

import streamlit as st

from pages.widgets.gallery import Group, Tile, gallery
from pages.widgets.viewer import viewer

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "line one\nline two\t<b>bold</b>",
    "猫/犬 ñ é \u202egnp.exe",
    'quote" onclick="alert(1)',
    "not utf-8 \udcff",
    "very-long-" * 300,
    "constructor",
    "__proto__",
]
st.set_page_config(layout="wide")
query = st.query_params
count, size = int(query.get("count", 24)), int(query.get("size", 96))
pixels = int(query.get("pixels", 96))


def tile(name: str) -> Tile:
    height = pixels * 2 // 3 if name.endswith(("2", "5")) else pixels
    return Tile(name, f"/picture/{name}.png?w={pixels}&h={height}", title=name, caption=name)


def plain() -> None:
    st.button("Rerun")
    first = st.number_input("First", 0, 1000, 0)
    tiles = [tile(f"{n:04}") for n in range(first, first + count)]
    if st.toggle("Defects", value=True):
        tiles[1:3] = [
            Tile(tiles[1].id, "", title="0001.jpg", caption="0001.jpg", badge="corrupt"),
            Tile(tiles[2].id, "/picture/gone.png", title="0002.jpg", caption="0002.jpg"),
        ]
        tiles[3] = replace(tiles[3], badge="excluded")
    say(gallery([Group("", count, tiles)], size=size, key="gallery", selected=query.get("selected")))


def groups() -> None:
    say(
        gallery(
            [
                Group("cat", 1234, [tile(f"cat{n}") for n in range(10)], id="label:cat"),
                Group("dog", 3, [tile(f"dog{n}") for n in range(3)], id="label:dog"),
                Group("twice", 2, [tile("cat0"), tile("cat0")]),
                Group(HOSTILE[0] * 20, 1, [tile("last")], id=HOSTILE[0]),
            ],
            size=size,
            key="gallery",
            selected=st.session_state.get("chosen"),
            on_open=choose,
        )
    )


def choose() -> None:
    st.session_state.chosen = st.session_state.gallery.opened


def hostile() -> None:
    tiles = [Tile(name, "/picture/a.png", title=name, caption=name, badge=name) for name in HOSTILE]
    say(gallery([Group(HOSTILE[0], len(tiles), tiles)], size=size, key="gallery"))


def say(result) -> None:
    """Counts the clicks, and shows the latest as its place among the hostile names or as itself."""
    state = st.session_state
    state.clicks = state.get("clicks", 0) + (result != type(result)(None, None))
    for name in (result.opened, result.group):
        if name is not None:
            state.latest = f"hostile {HOSTILE.index(name)}" if name in HOSTILE else name
    st.text(f"clicks={state.clicks} latest={state.get('latest')}")
    state.runs = state.get("runs", 0) + 1
    st.text(f"runs={state.runs}")


SIZES = [(1600, 1200), (32, 32), (400, 1800), (100, 60), (20, 20), (3000, 400)]


def step() -> None:
    state = st.session_state
    state.place = state.get("place", 0) + state.viewer.step
    state.steps = state.get("steps", 0) + 1


@st.fragment
def one_picture() -> None:
    place, last = st.session_state.get("place", 0), int(query.get("last", 5))
    width, height = SIZES[place % len(SIZES)]
    src = f"/picture/v{place}.png?w={width}&h={height}&delay={query.get('delay', 0)}"
    if query.get("same"):
        width, height, src = 64, 64, "/picture/same.png"
    if query.get("none"):
        width, height, src = 64, 64, "" if place % 2 else "/picture/gone.png"
    viewer(
        src,
        alt=f"picture {place}",
        width=width if query.get("known", "1") == "1" else None,
        height=height if query.get("known", "1") == "1" else None,
        has_previous=place > 0,
        has_next=place < last,
        key="viewer",
        on_step=step,
    )
    st.text(f"place={place} steps={st.session_state.get('steps', 0)}")
    st.text_input("Note")
    st.checkbox("Exclude")
    st.slider("Amount", 0, 10, 5)


@st.dialog("One picture", width="large")
def in_dialog() -> None:
    one_picture()


def dialog() -> None:
    opened = gallery([Group("", count, [tile(f"{n:04}") for n in range(count)])], size=size, key="gallery").opened
    if opened:
        st.session_state.place = int(opened)
        in_dialog()
    st.text(f"opened={opened} total steps={st.session_state.get('steps', 0)}")


{"plain": plain, "groups": groups, "hostile": hostile, "viewer": one_picture, "dialog": dialog}[query["show"]]()
