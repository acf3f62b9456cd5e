// Draws what pages/widgets/viewer.py sends: one picture, its zoom, and the steps to its neighbours.

const MOST_ENLARGED = 12
const PATIENCE_MS = 10_000 // a step that nobody answers stops blocking the next one
const ARROWS = { ArrowLeft: -1, ArrowRight: 1 }
// Where an arrow key already means something. Checkboxes do not use arrows, and keep the focus after a click.
const USES_ARROWS =
  "input:not([type=checkbox]), textarea, select, audio, video, " +
  "[role=slider], [role=combobox], [role=listbox], [role=radiogroup], [role=tablist], [role=menu], [role=grid]"

const viewers = new WeakMap() // parentElement -> Viewer
const mounted = [] // all viewers in this page; only the newest one that can be seen answers the keys

export default function ({ data, parentElement, setTriggerValue }) {
  const viewer = viewers.get(parentElement) ?? new Viewer(parentElement)
  viewers.set(parentElement, viewer)
  const render = viewer.show(data, step => setTriggerValue("step", step))
  // Streamlit also cleans up after a render that was overtaken by a newer one: the newer one must survive that.
  return () => {
    if (viewer.renders !== render) return
    viewer.close()
    viewers.delete(parentElement)
  }
}

class Viewer {
  constructor(parentElement) {
    this.root = parentElement.querySelector(".viewer")
    this.stage = this.root.querySelector(".stage")
    this.previous = this.root.querySelector(".previous")
    this.next = this.root.querySelector(".next")
    this.readout = this.root.querySelector(".readout")
    this.zoom = this.root.querySelector(".zoom")
    this.renders = 0
    this.presses = [] // steps asked for and not yet sent, each -1 or 1
    this.waiting = null // timer of the step that was sent and not yet answered
    this.loading = null // picture that was asked for and is not there yet

    const until = { signal: (this.closed = new AbortController()).signal }
    window.addEventListener("keydown", event => this.key(event), until)
    window.addEventListener("resize", () => this.fit(), until)
    this.previous.addEventListener("click", () => this.press(-1), until)
    this.next.addEventListener("click", () => this.press(1), until)
    this.zoom.addEventListener("click", () => this.toggle(), until)
    this.stage.addEventListener("click", event => this.toggle(event), until)
    this.sizes = new ResizeObserver(() => this.fit())
    this.sizes.observe(this.stage)
    mounted.push(this)
  }

  close() {
    this.closed.abort()
    this.sizes.disconnect()
    clearTimeout(this.waiting)
    this.loading = null
    mounted.splice(mounted.indexOf(this), 1)
  }

  show(data, send) {
    const src = this.data?.src
    this.data = data
    this.send = send
    this.previous.setAttribute("aria-disabled", String(!data.hasPrevious))
    this.next.setAttribute("aria-disabled", String(!data.hasNext))
    if (data.src !== src) this.load(data)
    else {
      if (this.picture) this.picture.alt = data.alt
      if (!this.loading) this.arrived() // the neighbour is the same picture once more
    }
    return ++this.renders
  }

  // The old picture stays until the new one can be drawn, so that stepping through many does not flicker.
  load({ src, alt }) {
    const picture = new Image()
    const here = () => this.loading === picture
    this.loading = picture
    this.root.toggleAttribute("data-loading", true)
    picture.alt = alt
    picture.onload = () => here() && this.settle(picture)
    picture.onerror = () => here() && this.settle(null)
    if (!src) return this.settle(null)
    picture.src = src
    if (!this.stage.hasChildNodes()) this.put(picture) // nothing to keep: hold its place
  }

  settle(picture) {
    this.loading = null
    this.root.toggleAttribute("data-loading", false)
    if (picture && picture === this.picture) this.fit()
    else this.put(picture)
    this.arrived()
  }

  put(picture) {
    this.picture = picture
    this.actual = false
    if (picture) this.stage.replaceChildren(picture)
    else {
      const notice = document.createElement("p")
      notice.textContent = "This picture cannot be shown."
      this.stage.replaceChildren(notice)
    }
    this.fit()
  }

  // Shrunk pictures are sized by the style sheet; few pixels are enlarged here, by a whole number to stay crisp.
  fit() {
    const { picture, data } = this
    const width = picture && (picture.naturalWidth || data.width)
    const height = picture && (picture.naturalHeight || data.height)
    if (!width || !height) return this.describe(1, 1)
    const room = Math.min(this.stage.clientWidth / width, (0.75 * window.innerHeight) / height)
    const fitted = room < 1 ? room : Math.min(MOST_ENLARGED, Math.floor(room))
    const scale = this.actual ? 1 : fitted
    picture.style.setProperty("--width", `${width * Math.max(1, scale)}px`)
    picture.style.setProperty("--ratio", width / height)
    picture.toggleAttribute("data-pixelated", scale > 1)
    this.stage.toggleAttribute("data-actual", this.actual)
    this.describe((scale * width) / (data.width ?? width), fitted)
  }

  // `scale`: screen pixels per pixel of the image; `fitted`: the same for the picture when it is fitted to the window.
  describe(scale, fitted) {
    const width = this.data.width ?? this.picture?.naturalWidth
    const height = this.data.height ?? this.picture?.naturalHeight
    const parts = []
    if (width && height) parts.push(`${width.toLocaleString("en")} × ${height.toLocaleString("en")} px`)
    if (this.picture) parts.push(`${Math.round(100 * scale).toLocaleString("en")} %`)
    this.readout.textContent = parts.join(" · ")
    this.zoom.hidden = fitted === 1 && !this.actual
    this.zoom.textContent = this.actual ? "Fit" : "1:1"
    this.zoom.title = this.actual ? "Fit to the window" : "One screen pixel per image pixel"
    this.stage.dataset.zoom = this.zoom.hidden ? "none" : this.actual === fitted < 1 ? "out" : "in"
  }

  // Between fitted and 1:1; the point that was clicked stays under the pointer.
  toggle(event) {
    if (this.zoom.hidden || (event && event.target !== this.picture)) return
    const before = this.picture.getBoundingClientRect()
    this.actual = !this.actual
    this.fit()
    if (!event) return
    const stage = this.stage.getBoundingClientRect()
    const [x, y] = [(event.clientX - before.left) / before.width, (event.clientY - before.top) / before.height]
    this.stage.scrollLeft = x * this.picture.offsetWidth - (event.clientX - stage.left)
    this.stage.scrollTop = y * this.picture.offsetHeight - (event.clientY - stage.top)
  }

  key(event) {
    const direction = ARROWS[event.key]
    if (!direction || event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return
    if (mounted.findLast(viewer => viewer.visible()) !== this || usesArrows(event)) return
    event.preventDefault()
    this.press(direction, event.repeat)
  }

  visible() {
    return this.root.getClientRects().length > 0
  }

  // Every single press counts and is sent in its turn; a key held down moves on only when the picture has arrived.
  press(direction, held = false) {
    if (held && this.waiting) return
    this.presses.push(direction)
    this.advance()
  }

  advance() {
    while (!this.waiting && this.presses.length) {
      const direction = this.presses.shift()
      if (!(direction < 0 ? this.data.hasPrevious : this.data.hasNext)) continue
      this.waiting = setTimeout(() => this.giveUp(), PATIENCE_MS)
      this.send(direction)
    }
  }

  arrived() {
    clearTimeout(this.waiting)
    this.waiting = null
    this.advance()
  }

  giveUp() {
    this.waiting = null
    this.presses = []
  }
}

function usesArrows(event) {
  return event
    .composedPath()
    .some(node => node instanceof HTMLElement && (node.isContentEditable || node.matches(USES_ARROWS)))
}
