-- Loads and connects the modules that use no function of Wireshark's: lua5.2 and lua5.4 run them, and so do the tests.

local M = {}

-- Each comes after those that it uses.
local NAMES = {
    "address", "base64", "handshakes", "http", "openvpn", "sha1", "sha256", "tftp", "upgrade", "version", "visible", "x509",
    "xml",
    "certificates", "digest", "hostid", "markup", "names", "story",
    "headend", "menu", "verdict",
    "cnf", "stated",
    "excerpt", "folder",
}

--- Return the modules by name.
---@param load fun(name: string): table returns a module as its file does
---@return table<string, table>
function M.connected(load)
    local part = {}
    for _, name in ipairs(NAMES) do
        local module = load(name)
        part[name] = module.using and module.using(part) or module
    end
    return part
end

return M
