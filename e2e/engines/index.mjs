// All of them in one process: each browser starts once.

import "./access.test.mjs";
import "./delivery.test.mjs";
import "./hostile.test.mjs";
import "./tabs.test.mjs";
