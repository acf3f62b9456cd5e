// A field for one's name, which this browser remembers.

const REMEMBERED = "recipe-author"

export default function ({ data, parentElement, setStateValue }) {
  const field = parentElement.querySelector("input")
  const tell = name => {
    if (name !== data.name) setStateValue("name", name)
  }
  if (document.activeElement !== field && parentElement.activeElement !== field) {
    field.value = data.name || localStorage.getItem(REMEMBERED) || ""
    tell(field.value)
  }
  field.onchange = () => {
    localStorage.setItem(REMEMBERED, field.value.trim())
    tell(field.value.trim())
  }
}
