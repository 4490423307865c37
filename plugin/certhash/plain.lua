-- Loads and connects the modules that use no function of Wireshark's: lua5.2 and lua5.4 run them, and so do the tests.

local M = {}

-- Each comes after those that it uses.
local NAMES = {
    "address", "base64", "handshakes", "http", "names", "openvpn", "sha1", "tftp", "upgrade", "version", "visible", "x509",
    "xml",
    "digest", "hostid", "markup", "sha256", "story",
    "certificates", "headend", "menu", "verdict",
    "cnf", "stated",
    "excerpt", "folder",
}

--- Return the modules by name.
-- Each file gets those before it as its argument.  Wireshark also runs every file in a folder of plugins by itself, with no
-- argument, and it must do nothing then.
---@param load fun(name: string): function returns the compiled file of a module
---@return table<string, table>
function M.connected(load)
    local part = {}
    for _, name in ipairs(NAMES) do
        part[name] = load(name)(part)
    end
    return part
end

return M
