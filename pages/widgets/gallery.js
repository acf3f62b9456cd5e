// Draws what pages/widgets/gallery.py sends. It runs again whenever the data changes and patches the nodes that stand
// there already. Names come from files and are hostile: they enter as textContent and attributes, never as HTML.

const CAPTION_FROM = 72 // CSS pixels; below that a caption would be all ellipsis
const keys = new WeakMap() // node -> what it stands for among its siblings
const choices = new WeakMap() // gallery -> { revision, ids, anchor }: what is ticked; the server may lag behind

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".gallery")
  const focused = parentElement.activeElement
  root.style.setProperty("--size", `${data.size}px`)
  attribute(root, "data-captions", data.size >= CAPTION_FROM ? "" : null)
  reconcile(root, data.groups, groupKey, createGroup, (node, group) => drawGroup(node, group, data))
  if (focused?.isConnected && parentElement.activeElement !== focused) focused.focus({ preventScroll: true })

  const tiles = [...root.querySelectorAll(".tile")]
  keepOneTabStop(root, tiles, data.selected)
  const choice = choiceOf(root, data.choice)
  drawChoice(root, choice)
  const tick = (tile, range) => {
    toggle(choice, tiles, tile, range)
    drawChoice(root, choice)
    setStateValue("chosen", [...choice.ids])
  }
  root.onclick = event => {
    const cell = event.target.closest(".cell")
    const onTile = event.target.closest(".tile")
    if (choice && cell && (!onTile || event.shiftKey || event.ctrlKey || event.metaKey)) {
      if (event.target.closest(".check, .tile")) tick(cell.firstElementChild, event.shiftKey)
      return
    }
    if (event.detail > 1) return // the second half of a double click
    const tile = onTile
    const heading = event.target.closest("button.heading")
    if (tile) {
      moveTabStop(root, tile)
      setTriggerValue("opened", tile.dataset.id)
    } else if (heading) setTriggerValue("group", heading.dataset.id)
  }
  root.onkeydown = event => {
    if (event.key === "Enter" && event.repeat) event.preventDefault() // a held key is one click
    const tile = event.target.closest(".tile")
    if (!tile || event.ctrlKey || event.altKey || event.metaKey) return
    if (choice && event.key.toLowerCase() === "x") return tick(tile, event.shiftKey)
    if (event.shiftKey) return
    const next = neighbour(tiles, tile, event.key)
    if (next === null) return
    event.preventDefault() // nobody else, page scroll or viewer, shall act on this arrow
    if (next) {
      moveTabStop(root, next)
      next.focus()
    }
  }
}

// Makes the children of `parent` those that `items` describe, in their order; a node is kept as long as its key is.
function reconcile(parent, items, keyOf, create, draw) {
  const old = new Map([...parent.children].map(node => [keys.get(node), node]))
  const repeats = new Map()
  const wanted = items.map(item => {
    const name = keyOf(item)
    const repeat = repeats.get(name) ?? 0
    repeats.set(name, repeat + 1)
    const key = `${repeat}:${name}`
    const node = old.get(key) ?? create(item)
    old.delete(key)
    keys.set(node, key)
    draw(node, item)
    return node
  })
  for (const node of old.values()) node.remove()
  let next = parent.firstElementChild
  for (const node of wanted) {
    if (node === next) next = next.nextElementSibling
    else parent.insertBefore(node, next)
  }
}

function groupKey(group) {
  return group.id ? `id:${group.id}` : `title:${group.title}`
}

function createGroup(group) {
  const heading = element(group.id ? "button" : "div", "heading")
  heading.append(element("span", "title"), element("span", "count"))
  if (group.id) {
    heading.type = "button"
    const all = element("span", "all")
    all.textContent = "Show all"
    heading.append(all)
  } else {
    heading.setAttribute("role", "heading")
    heading.setAttribute("aria-level", "3")
  }
  const section = element("section", "group")
  section.append(heading, element("div", "grid"))
  return section
}

function drawGroup(section, group, { size, selected }) {
  const [heading, grid] = section.children
  property(heading, "hidden", !group.title)
  attribute(heading, "data-id", group.id || null)
  text(heading.querySelector(".title"), group.title)
  text(heading.querySelector(".count"), group.count.toLocaleString("en"))
  reconcile(grid, group.tiles, tile => tile.id, createCell, (node, tile) => drawTile(node.firstChild, tile, size, selected))
}

// A tile and, over its corner, the box that chooses it: a button may not stand in a button.
function createCell() {
  const cell = element("div", "cell")
  const check = element("button", "check")
  check.type = "button"
  check.tabIndex = -1 // by keyboard: x on the tile
  check.setAttribute("role", "checkbox")
  check.title = "Choose (x; with Shift all up to here)"
  cell.append(createTile(), check)
  return cell
}

function createTile() {
  const tile = element("button", "tile")
  tile.type = "button"
  tile.tabIndex = -1
  const picture = element("span", "picture")
  const image = element("img", "")
  image.loading = "lazy"
  image.decoding = "async"
  image.alt = "" // the button carries the name
  image.onload = () => sharpen(image)
  image.onerror = () => attribute(tile, "data-picture", "missing")
  picture.append(image, element("span", "nothing"), element("span", "badge"))
  tile.append(picture, element("span", "caption"), element("span", "reason"))
  return tile
}

function drawTile(tile, { id, src, title, caption, badge, reason, state }, size, selected) {
  const [picture, line, why] = tile.children
  const [image, nothing, pill] = picture.children
  attribute(tile, "data-id", id)
  attribute(tile, "title", title || null)
  attribute(tile, "aria-label", [title || caption || id, badge, reason].filter(Boolean).join(", "))
  attribute(tile, "data-state", state || null)
  attribute(tile, "aria-current", id === selected ? "true" : null)
  text(line, caption)
  text(why, reason)
  text(pill, badge)
  property(image, "width", size)
  property(image, "height", size)
  if (!src || image.getAttribute("src") !== src) attribute(tile, "data-picture", src ? null : "none")
  text(nothing, src ? "no picture" : "unreadable")
  attribute(image, "src", src || null)
  sharpen(image)
}

// A picture of few pixels is shown as those pixels rather than as a blur.
function sharpen(image) {
  const pixels = Math.max(image.naturalWidth, image.naturalHeight) // 0 until loaded
  attribute(image, "data-pixelated", pixels > 0 && pixels < image.width / 2 ? "" : null)
}

// What is ticked: the server's word where it has a new one, else what was ticked here; null if nothing can be.
function choiceOf(root, given) {
  if (!given) choices.delete(root)
  else if (choices.get(root)?.revision !== given.revision)
    choices.set(root, { revision: given.revision, ids: new Set(given.ids), anchor: null })
  return choices.get(root) ?? null
}

function drawChoice(root, choice) {
  attribute(root, "data-choosing", choice ? (choice.ids.size ? "some" : "none") : null)
  for (const cell of root.querySelectorAll(".cell")) {
    const chosen = choice?.ids.has(cell.firstChild.dataset.id) ?? false
    attribute(cell.lastChild, "aria-checked", String(chosen))
    attribute(cell.lastChild, "aria-label", `Choose ${cell.firstChild.getAttribute("aria-label")}`)
    attribute(cell, "data-chosen", chosen ? "" : null)
  }
}

// Ticks a tile or takes its tick away; as a range, does the same as last time to all from there up to this one.
function toggle(choice, tiles, tile, range) {
  const place = tiles.indexOf(tile)
  const from = range ? tiles.findIndex(other => other.dataset.id === choice.anchor) : -1
  const on = from < 0 ? !choice.ids.has(tile.dataset.id) : choice.ids.has(choice.anchor)
  const first = from < 0 ? place : Math.min(from, place)
  const last = Math.max(from, place)
  for (const each of tiles.slice(first, last + 1)) {
    if (on) choice.ids.add(each.dataset.id)
    else choice.ids.delete(each.dataset.id)
  }
  choice.anchor = tile.dataset.id
}

// The whole gallery is one stop for the Tab key; inside it the arrow keys move.
function keepOneTabStop(root, tiles, selected) {
  const marked = tiles.find(tile => tile.dataset.id === selected)
  const current = root.querySelector('.tile[tabindex="0"]')
  const stop = (root.dataset.selected !== selected && marked) || current || tiles[0]
  attribute(root, "data-selected", selected)
  if (stop && stop !== current) moveTabStop(root, stop)
}

function moveTabStop(root, tile) {
  for (const other of root.querySelectorAll('.tile[tabindex="0"]')) other.tabIndex = -1
  tile.tabIndex = 0
}

// The tile that `key` leads to from `tile`; undefined where there is none, null if the key does not move the focus.
function neighbour(tiles, tile, key) {
  const place = tiles.indexOf(tile)
  if (key === "ArrowRight") return tiles[place + 1]
  if (key === "ArrowLeft") return tiles[place - 1]
  if (key === "Home") return tiles[0]
  if (key === "End") return tiles.at(-1)
  if (key === "ArrowDown") return nearest(tile, tiles.slice(place + 1), 1)
  if (key === "ArrowUp") return nearest(tile, tiles.slice(0, place), -1)
  return null
}

// The tile closest to the same column in the next row above (-1) or below (1), also across groups.
function nearest(tile, tiles, direction) {
  const here = tile.getBoundingClientRect()
  let best, least = Infinity
  for (const other of tiles) {
    const there = other.getBoundingClientRect()
    const rows = (there.top - here.top) * direction
    const distance = rows * 10_000 + Math.abs(there.left - here.left) // the row counts before the column
    if (rows > 1 && distance < least) [best, least] = [other, distance]
  }
  return best
}

function element(tag, className) {
  const node = document.createElement(tag)
  if (className) node.className = className
  return node
}

// Each of these writes only what differs, so that drawing the same again leaves the document untouched.
function text(node, value) {
  if (node.textContent !== value) node.textContent = value
}

function property(node, name, value) {
  if (node[name] !== value) node[name] = value
}

function attribute(node, name, value) {
  if (node.getAttribute(name) === (value ?? null)) return
  if (value == null) node.removeAttribute(name)
  else node.setAttribute(name, value)
}
