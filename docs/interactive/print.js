/* The printer's colors while a page is drawn for it: a canvas is drawn before the rules of print hold. Loaded first. */
"use strict";
addEventListener("beforeprint", () => document.documentElement.classList.add("printing"));
addEventListener("afterprint", () => document.documentElement.classList.remove("printing"));
