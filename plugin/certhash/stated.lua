-- Reads hashes that the user states without a file (the preference certhash.expect), each with or without a URL.
--
--   local files, problems = stated.read("fZ2xQHMBcWj/fSoNs5IkPbA2Pt8=; 7d9db140...=https://203.0.113.1/phone")
--
-- The files have the form of cnf.read's result, with the device "-".  Without a URL, `anywhere` is set: the hash matches if
-- any server presents its certificate.  scripts/certhash/cnf/stated.py and judgement/anywhere.py have the same rules.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local base64, digest, headend, visible = others.base64, others.digest, others.headend, others.visible

-- Return the bytes of a hash in hex (with or without colons, blanks or dashes) or in Base64, or nil.  The labels that
-- Windows, IOS and openssl print before the digits are accepted.
local function digest_of(text)
    text = text:gsub("\226\128[\142\143]", ""):match("^%s*(.-)%s*$")  -- marks that Windows puts before a thumbprint
    local bare = text:match("^[%w%s-]*[Ff]ingerprint[%w%s-]*[:=]%s*(.+)$") or text:match("^[Tt]humbprint%s*[:=]?%s*(.+)$")
        or text
    local digits = bare:gsub("[%s:.-]", "")
    if digits:match("^%x+$") and digest.ALGORITHMS[#digits / 2] then
        return (digits:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
    end
    return (digest.read(bare))
end

local function read_one(text)
    local hash, url = text:match("^(.-)=(%a[%w+.-]*://.*)$")
    local bytes = digest_of(hash or text)
    if not bytes then
        return nil, ("%s: not a hash (SHA-1: 28 characters of Base64, or 40 hex digits)"):format(visible.text(text, 90))
    end
    local algorithm = digest.ALGORITHMS[#bytes]
    local file = {
        device = "-",
        name = "certhash.expect",
        path = "the preference certhash.expect",
        kind = "stated",
        urls = {},
        hashes = { { number = 1, text = base64.encode(bytes), digest = bytes, algorithm = algorithm } },
        hash_algorithm = algorithm == "SHA-1" and "" or algorithm,
        host_id_check = "0",  -- there is no phone that makes the check
    }
    if url then
        local head_end, problem = headend.read(url)
        if not head_end then
            return nil, ("%s: %s"):format(visible.text(url, 90), problem)
        end
        file.urls[1] = { number = 1, text = url, head_end = head_end }
    else
        file.anywhere = { number = 0, text = "any head-end" }
    end
    return file
end

--- Read the preference: hashes separated by semicolons.
---@param text string
---@return table[] files
---@return string[] problems
function M.read(text)
    local files, problems = {}, {}
    for one in text:gmatch("[^;]+") do
        if one:find("%S") then
            local file, problem = read_one(one:match("^%s*(.-)%s*$"))
            files[#files + 1] = file
            problems[#problems + 1] = problem and "certhash.expect: " .. problem
        end
    end
    return files, problems
end

--- Return whether no server presents the certificate of a stated hash.  This is known only if every server showed its
-- certificates: one that did not may be the one that presents it.
---@param file table
---@param servers table<string, table|false> by address, port and name: the last chain of the server, or false
---@return boolean
function M.nowhere(file, servers)
    local any = false
    for _, chain in pairs(servers) do
        if not chain then
            return false
        end
        for _, certificate in ipairs(chain) do
            local bytes = file.hashes[1].digest
            if bytes == certificate.thumbprint or bytes == certificate.thumbprint256 then
                return false
            end
        end
        any = true
    end
    return any
end

return M
