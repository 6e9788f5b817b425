// What the theme makes while a page loads, named for screen readers and reachable by keyboard.
function name_parts() {
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((part) => {
    part.tabIndex = 0;
  });
  document.querySelectorAll(".md-code__nav:not([role])").forEach((part) => part.setAttribute("role", "presentation"));
}
name_parts();
new MutationObserver(name_parts).observe(document.body, { childList: true, subtree: true });
